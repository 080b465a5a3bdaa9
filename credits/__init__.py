"""What people may spend, and what runs cost them."""
