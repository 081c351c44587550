"""Names that only scripts for Matterport's library use."""
