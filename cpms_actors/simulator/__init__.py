"""Virtual charge points and their fleet."""
