"""One file a channel. An adapter imports `normalizer` and `adapters.base`, never another adapter and never the gateway."""
