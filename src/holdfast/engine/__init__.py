"""One real server: finding it, configuring it, starting it, talking to it."""
