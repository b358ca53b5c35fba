"""Where L3 is: CSV files, masks, centres of vertebrae."""
