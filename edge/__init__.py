"""The line: it inspects parts, and never imports torch."""
