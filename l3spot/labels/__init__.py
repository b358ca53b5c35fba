"""Reads labels of L3 from CSV files, masks and vertebral centres."""
