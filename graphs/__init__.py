"""What people draw, and the blocks they draw with."""
