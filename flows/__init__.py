"""What a person triggers: the whole path, its stages, and the command line."""
