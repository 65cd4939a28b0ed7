"""Pure rules of charging, tariffs and access: no I/O, no clock, no chance."""
