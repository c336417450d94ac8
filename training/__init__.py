"""The offline package: learns prototypes of normal from few labels and writes a bundle."""
