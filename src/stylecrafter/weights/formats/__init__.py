"""One map of names for each published format, and the sizes that its shapes tell."""
