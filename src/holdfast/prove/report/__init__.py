"""The evidence as one page that reads well on a screen, a phone and paper."""
