import com.clickhouse.jdbc.Driver;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Statement;
import java.util.Properties;

/** Reads views as a BI tool does: `ReadViews URL USER PASSWORD VIEW…` tells rows and columns of each. */
class ReadViews {
    public static void main(String[] args) throws Exception {
        Properties login = new Properties();
        login.setProperty("user", args[1]);
        login.setProperty("password", args[2]);
        try (Connection connection = new Driver().connect(args[0], login)) {
            for (int at = 3; at < args.length; at++) {
                read(connection, args[at]);
            }
            revenue(connection, "2026-03-02", "2026-03-08");
        }
    }

    private static void read(Connection connection, String view) throws Exception {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM " + view + " LIMIT 1000")) {
            ResultSetMetaData columns = rows.getMetaData();
            StringBuilder types = new StringBuilder();
            for (int column = 1; column <= columns.getColumnCount(); column++) {
                types.append(column > 1 ? "," : "").append(columns.getColumnName(column));
            }
            int count = 0;
            while (rows.next()) {
                count++;
                for (int column = 1; column <= columns.getColumnCount(); column++) {
                    rows.getObject(column);
                }
            }
            System.out.println(view + "\t" + count + "\t" + types);
        }
    }

    private static void revenue(Connection connection, String since, String until) throws Exception {
        String sql = "SELECT sum(revenue) FROM bi_sales_by_store WHERE date BETWEEN ? AND ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, since);
            statement.setString(2, until);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                BigDecimal sum = rows.getBigDecimal(1);
                System.out.println("revenue\t" + sum.toPlainString());
            }
        }
    }
}
