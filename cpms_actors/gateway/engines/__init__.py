"""WebSocket engines behind one interface."""
