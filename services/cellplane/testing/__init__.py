"""What tests are made of; shipped, because users test too. Nothing that ships imports it."""
