CAST(map(), 'Map(Int16, UInt64)')
