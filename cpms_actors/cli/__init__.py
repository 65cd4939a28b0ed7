"""The cpms command."""
