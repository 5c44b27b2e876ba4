"""What the verbs of `gateway.cli` do. Each module is imported only by its own verb, so that `--help` stays quick."""
