"""What each figure is compared with, as a competent user would write it."""
