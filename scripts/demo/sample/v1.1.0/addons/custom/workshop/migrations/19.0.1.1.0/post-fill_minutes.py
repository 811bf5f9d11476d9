def migrate(cr, version):
    """Fill the new field from the durations that are written as h:mm."""
    cr.execute(
        """
        UPDATE workshop_order
           SET minutes = split_part(duration, ':', 1)::int * 60 + split_part(duration, ':', 2)::int
         WHERE duration ~ '^[0-9]{1,4}:[0-5][0-9]$'
        """
    )
