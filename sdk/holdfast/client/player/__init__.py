"""The page that plays a recorded run: its style and its script, which go into the file that `page` makes."""
