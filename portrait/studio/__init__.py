"""Studio portraits: how a person is framed, and the backdrops behind them."""
