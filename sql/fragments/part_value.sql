${include part_summary ${1} ${1}},
    if(${1}_count = 0, NULL, ${include aggregate ${1}}) AS ${1}_value
