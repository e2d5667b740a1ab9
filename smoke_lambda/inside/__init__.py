"""What runs in a function, or beside a wheel, on any Python of Lambda from 3.8 on."""
