"""Controllers: from what a user does in a view to a field of the session, one story each."""
