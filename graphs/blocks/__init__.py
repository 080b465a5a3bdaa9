"""The block SDK, and the blocks that come with the platform."""
