"""What is claimed, measured: on which data (`sets`), how well it detects (`detection`), whether what it
tells is true (`verdict`), what labels bring (`loop`), and what it costs (`cost`)."""
