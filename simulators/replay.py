"""Recorded sales as the events that the stores' tills and stock books would have sent.

Pure: no clock, no randomness, no I/O. The same inputs give the same events, byte for byte, in
order of event time. For each recorded line, at the second it was rung up:

1. a price change, when the price at the shelf is not the last one seen for that store and product;
2. an adjustment, when the book shows fewer units than were sold: the sale is a fact, the book was
   wrong;
3. the sale line, as recorded, dirt and all;
4. the stock movement, when units of a stocked product left the shelf.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from simulators.complete_journey import SOURCE
from simulators.plan import ReplayInputs, divide_half_up, net_unit_price
from simulators.stock import StockBook
from tillstream.contracts.identity import event_uuid
from tillstream.contracts.topics import Topic

Event = tuple[Topic, dict[str, Any]]

# Not recorded in the data set.
PAYMENT_METHOD: Final = "unknown"
PROMOTION: Final = "promotion"
REGULAR: Final = "regular"
_CENT: Final = 100  # ten-thousandths
_COLUMNS: Final = (
    "time_ms",
    "store_id",
    "basket_id",
    "line_number",
    "product_id",
    "household_id",
    "quantity",
    "sales_cents",
    "retail_disc_cents",
    "coupon_match_cents",
)


def events(inputs: ReplayInputs) -> Iterator[Event]:
    """Every event of a replay, in order of event time. `customer_id` is the household's own number:
    the publisher makes it a pseudonym."""
    book = StockBook(inputs)
    shift_ms = inputs.plan.shift_ms
    last_prices = dict(inputs.last_prices)
    fixed_price = inputs.fixed_price_products
    for update in book.open():
        yield Topic.INVENTORY, update
    columns = (inputs.sales[name].tolist() for name in _COLUMNS)
    for at_ms, store, basket, line, product, household, quantity, sales, retail, match in zip(
        *columns, strict=True
    ):
        for update in book.advance(at_ms):
            yield Topic.INVENTORY, update
        pair = (store, product)
        event_id = event_uuid(SOURCE, basket, product, line)
        if quantity > 0:
            if product in fixed_price:
                price = net_unit_price(sales, match, quantity)
                last = last_prices.get(pair)
                last_prices[pair] = price
                if last is not None and last != price:
                    yield (
                        Topic.PRICES,
                        {
                            "price_change_id": event_uuid(f"{SOURCE}-price", basket, product, line),
                            "store_id": str(store),
                            "product_id": str(product),
                            "old_price": _money(last),
                            "new_price": _money(price),
                            "reason": PROMOTION if retail > 0 else REGULAR,
                            "effective_from": at_ms + shift_ms,
                            "effective_to": None,
                            "timestamp": at_ms + shift_ms,
                        },
                    )
            correction = book.correct(pair, quantity, at_ms)
            if correction is not None:
                yield Topic.INVENTORY, correction
        yield (
            Topic.SALES,
            {
                "transaction_id": str(basket),
                "store_id": str(store),
                "product_id": str(product),
                "quantity": quantity,
                "unit_price": _shelf_price(sales + retail + match, quantity),
                "timestamp": at_ms + shift_ms,
                "customer_id": str(household),
                "payment_method": PAYMENT_METHOD,
                "event_id": event_id,
                "line_number": line,
                "line_amount": _money(sales * _CENT),
                "discount": _money((retail + match) * _CENT),
                "promotion_id": None,
            },
        )
        if quantity > 0:
            movement = book.sell(pair, quantity, at_ms)
            if movement is not None:
                yield Topic.INVENTORY, movement
    for update in book.advance(inputs.plan.end_ms - 1):
        yield Topic.INVENTORY, update


def _shelf_price(before_discount_cents: int, quantity: int) -> Decimal:
    """The price of one unit before discounts, to 4 decimals; 0 when no unit was sold, since then
    nothing says it."""
    if quantity == 0:
        return _money(0)
    return _money(divide_half_up(before_discount_cents * _CENT, quantity))


@lru_cache(maxsize=65_536)
def _money(ten_thousandths: int) -> Decimal:
    return Decimal(ten_thousandths).scaleb(-4)
