SELECT mark FROM ${database}.activity_reads WHERE issuer = {issuer:String} AND subject = {subject:String} AND kind = 'undo'
