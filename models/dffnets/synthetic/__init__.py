"""Rendered focal stacks with known depth."""
