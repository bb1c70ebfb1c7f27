"""The embedded model: a small closed world with a known truth, its corpus, its training and its weights."""
