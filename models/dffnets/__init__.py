"""Networks for depth from focus, and the synthetic stacks that train and test them."""
