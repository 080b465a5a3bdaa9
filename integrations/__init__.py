"""Other services' accounts, and the credentials that open them."""
