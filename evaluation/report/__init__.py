"""What a replay showed: figures with intervals, as text, JSON and one page, and the gate that decides on them."""
