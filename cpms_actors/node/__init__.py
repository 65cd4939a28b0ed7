"""What runs on one machine: embedded servers, processes, wiring."""
