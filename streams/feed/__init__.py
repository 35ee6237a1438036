"""The results topic as each gateway copy follows it: for those who wait for one, and those who follow them all."""
