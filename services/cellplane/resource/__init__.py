"""The standard methods of resources, once for every collection (AIP-131 to 135).

Above ``rpc`` and ``store``, which it joins; below the services, which hand over what is special
about their collections. Works by reflection on messages: it knows no message of cellplane.
"""
