{
    "name": "Workshop",
    "summary": "Orders of a repair workshop and how long they take",
    "version": "19.0.1.0.0",
    "author": "OdooOps demo",
    "website": "https://example.com/workshop",
    "license": "LGPL-3",
    "category": "Services",
    "depends": ["mail"],
    "data": [
        "security/ir.model.access.csv",
        "data/workshop_order_data.xml",
        "views/workshop_order_views.xml",
    ],
    "application": True,
}
