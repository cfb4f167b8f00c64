"""What a job may ask for, with every number decided: presets, generations, estimates, seeds."""
