"""Reports of benchmarks and evaluations: one outline, as terminal text, Markdown, or HTML."""
