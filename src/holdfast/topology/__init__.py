"""Many servers as one cache: what is seen, what is wanted, the steps between, and doing them."""
