"""The rewriting passes, one file each, named as `pipeline` lists them."""
