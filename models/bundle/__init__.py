"""What a bundle is: its folder, its manifest, who signed it, and what people can review of it."""
