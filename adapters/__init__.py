"""One file or package a channel; it imports `normalizer` and `adapters.base`, no other adapter and no gateway."""
