"""The engine: focal stacks in, depth out. Knows no Qt."""
