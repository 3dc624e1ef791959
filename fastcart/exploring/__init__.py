"""The live explorer, `fastcart explore`: a page with sliders, and the server that solves for it.

`settings` says what the page asks for, `models` and `trials` answer, `newest` lets the newest question stop
the older ones, `server` speaks to the page, which lies in the folder ``page``.
"""
