"""What is compared: two coordinators as the third seed designs them, and the table of the five systems."""
