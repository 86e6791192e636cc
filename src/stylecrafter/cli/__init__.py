"""The command line: options in, one call into the library, words out. No logic of its own."""
