"""Files and order, no mathematics: what is done when, and what is already done."""
