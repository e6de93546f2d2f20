"""Icons, help pages and the sample stack."""
