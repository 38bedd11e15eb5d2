"""Records to pages: one outline, drawn as terminal text, Markdown, or one HTML file."""
