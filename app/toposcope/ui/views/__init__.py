"""Views: they show what they are given, tell what the user does, and decide nothing."""
