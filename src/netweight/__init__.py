"""netweight: how much does your network really weigh?"""
